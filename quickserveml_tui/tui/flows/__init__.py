"""What the workbench does, one use case each: keys and messages in, calls of the ports in worker threads, panes out."""
