"""PostgreSQL: schema, migrations, queries, group commit, outbox, the embedded server."""
