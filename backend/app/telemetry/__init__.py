"""What leaves a process about itself: metrics over HTTP, traces, and nothing secret in either."""
