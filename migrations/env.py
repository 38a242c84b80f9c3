"""Run migrations on the connection that `control_plane.store.schema` hands over."""

from alembic import context

from control_plane.store.tables import Row

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Row.metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
