"""Speed and memory beside the peers: each module is one command, and measures both in one run."""
