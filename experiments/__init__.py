"""Programs that compare runs of the trainers: tables and figures."""
