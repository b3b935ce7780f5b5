"""Wire to domain and back, pure; the only place that knows both."""
