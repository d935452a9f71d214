"""Speed, as figures and ratios: ``make bench``. Nothing here passes or fails by a clock."""
