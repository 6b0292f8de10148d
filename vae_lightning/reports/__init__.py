"""Reports: tables, pictures and pages of runs, sweeps and searches."""
