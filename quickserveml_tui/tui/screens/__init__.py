"""Screens: the workbench, its dialogs, help and palette."""
