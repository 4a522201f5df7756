# One image for the web, Flower, every pool and the commands, which docker-compose.yml chooses.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
WORKDIR /build
# The pinned packages only, so that the layer is rebuilt only when these files change.
# Without the source tree OrderSaga's own package is empty, and is removed.
COPY pyproject.toml requirements.txt README.md ./
RUN /opt/venv/bin/pip install --constraint requirements.txt '.[app]' && /opt/venv/bin/pip uninstall --yes ordersaga

FROM python:${PYTHON}-slim
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ORDERSAGA_DOTENV=""
RUN groupadd --gid 10001 ordersaga && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent ordersaga
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY manage.py ./
COPY ordersaga ordersaga
COPY workers workers
COPY webapp webapp
COPY deploy deploy
RUN sh deploy/static.sh
USER 10001:10001
CMD ["python", "manage.py", "help"]
