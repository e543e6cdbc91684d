"""The four panes of the workbench. They show what they are given and say what was asked; the screen acts."""
