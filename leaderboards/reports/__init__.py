"""What people read: tables, charts, pages, of one run and across runs."""
