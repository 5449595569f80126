"""The command line: one file per command, `kvgate.cli.main` in front."""
