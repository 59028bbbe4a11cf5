"""The demo store as people instrument it with prometheus_fastapi_instrumentator. The store itself knows nothing of it."""

from prometheus_fastapi_instrumentator import Instrumentator

from store.main import app

Instrumentator().instrument(app).expose(app)
