# The part of the startup script of a TPU VM that is the same for every job; see
# launch/tpu_vm.py for the lines before it. It runs as root at every boot, so
# that a host which was restarted goes on with the job.
set -euo pipefail
export HOME=/root # pip needs one, and startup scripts have none.

metadata() {
  curl --silent --fail --retry 9 --header 'Metadata-Flavor: Google' \
    "http://metadata.google.internal/computeMetadata/v1/instance/attributes/$1"
}
worker=$(metadata agent-worker-number)
slice=$(metadata tpu-env | sed -n "s/^MEGASCALE_SLICE_ID: *'\(.*\)'$/\1/p")
slice=${slice:-0}

finish() {
  code=$?
  gcloud storage cp job.log "$PLACE/log-$slice-$worker.txt" || true
  case $code in
    # Stopped by a signal: the machine goes away, and the job goes on elsewhere.
    75 | 129 | 130 | 137 | 143) ;;
    *) if [ "$slice$worker" = 00 ]; then
      # Without it the launcher would wait for ever.
      until echo "$code" | gcloud storage cp - "$PLACE/exit_code"; do
        sleep 60
      done
    fi ;;
  esac
}

mkdir -p "$FOLDER"
cd "$FOLDER"
exec >> job.log 2>&1
trap finish EXIT
failures=0
until gcloud storage cp "$PLACE/code.tar.gz" code.tar.gz &&
  tar -xzf code.tar.gz && bash launch/install.sh; do
  if [ "$failures" -ge "$RETRIES" ]; then
    echo "The code cannot be installed; giving up after $failures retries."
    exit 1
  fi
  sleep $((failures < 6 ? 10 << failures : 600))
  failures=$((failures + 1))
done
.venv/bin/python launch/supervisor.py --retries "$RETRIES" -- \
  .venv/bin/python -m phenaki_jax "$@"
