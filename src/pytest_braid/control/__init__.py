"""The controller: asks the scheduler, carries out its commands, and replays what workers say."""
