# The receiver of Customer.io's webhooks, see docs/receiver.md.
FROM python:3.13-slim
WORKDIR /srv/copymart
COPY . .
RUN sh scripts/dev/make_venv.sh .venv requirements.lock
# any user may write the spool, whose volume must outlive the container
RUN mkdir -p /var/lib/copymart && chmod 1777 /var/lib/copymart
VOLUME /var/lib/copymart
USER 65534
EXPOSE 8000
ENTRYPOINT [".venv/bin/copymart", "receive", "--host", "0.0.0.0", "--spool", "/var/lib/copymart/spool"]
