"""What ends a run before its time, raised in the controller as a serial run would raise it."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest

from pytest_braid.seam import reports
from pytest_braid.wire import messages as m


class Failures:
    """Raises, and remembers what the end of the run has to know of it."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._hook: Any = config.hook
        self._interruption: m.Interrupted | None = None
        self.is_told = False
        """Whether the run has an error that explains why the zygote failed."""

    def raise_said(self, said: m.UsageFailed | m.Interrupted | m.InternalFailed) -> NoReturn:
        """What a process of the run has met."""
        match said:
            case m.UsageFailed():
                raise pytest.UsageError(*said.texts)
            case m.Interrupted():
                self.raise_interrupted(said)
            case m.InternalFailed():
                self.raise_internal(said.text)

    def raise_internal(self, text: str) -> NoReturn:
        """What braid says of itself begins with the reason, a traceback ends with it."""
        self.is_told = True
        self._hook.pytest_internalerror(excrepr=_Text(text), excinfo=None)
        lines = text.strip().splitlines()
        reason = lines[0] if text.startswith("braid: ") else lines[-1]
        pytest.exit(reason, pytest.ExitCode.INTERNAL_ERROR)

    def raise_interrupted(self, said: m.Interrupted) -> NoReturn:
        """As a serial run ends when a test raises an interrupt or calls ``pytest.exit``."""
        self._interruption = said
        if said.kind == "exit":
            pytest.exit(said.text, said.returncode)
        raise KeyboardInterrupt(*filter(None, [said.text]))

    def show_interruption(self) -> None:
        """Where it was: the terminal has heard of it, and would show where we raised it."""
        said = self._interruption
        if said is not None and said.crash is not None:
            reports.show_interruption(self._config, said.crash, said.shown)


class _Text:
    """An ``excrepr`` that is already text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text
