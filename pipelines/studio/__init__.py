"""Label Studio on a PostgreSQL of its own: installed, started, watched."""
