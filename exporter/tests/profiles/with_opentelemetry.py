"""The application as people instrument it with OpenTelemetry, with the stable semantic conventions and Prometheus."""

from contract import Paused, app
from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import make_asgi_app

metrics.set_meter_provider(MeterProvider(metric_readers=[PrometheusMetricReader()]))
app.add_middleware(Paused)
FastAPIInstrumentor.instrument_app(app, excluded_urls="metrics")
app.mount("/metrics", make_asgi_app())
