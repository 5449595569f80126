"""What is counted while commands are served; who shows it is in kvgate.admin and kvgate.server."""
