"""The application as people instrument it with prometheus_fastapi_instrumentator, with its defaults."""

from contract import Paused, app
from prometheus_fastapi_instrumentator import Instrumentator

# Added first: what is added last is outside.
app.add_middleware(Paused)
Instrumentator().instrument(app).expose(app)
