"""What earlier runs have taught: how long tests take, what they wait for, what fixtures cost."""
