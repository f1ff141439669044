"""Methods x seeds x data sets -> records of runs -> statistics -> tables and a page."""
