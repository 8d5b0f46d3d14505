"""Schedules: functions of progress in [0, 1] to a factor of the peak learning rate, and some to a momentum too."""
