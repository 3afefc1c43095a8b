"""Clients that others wrote, on a real server: `table` is the benchmark, each other module a kind of client."""
