"""What the monitor keeps of a server, and how it is watched."""
