"""Starts at fixed times: what is to be started, by cron or by systemd, and one such start with its log."""
