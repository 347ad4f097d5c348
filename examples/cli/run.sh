#!/usr/bin/env bash
# Train a classifier of handwritten digits and ask it, by the command line alone.
#   examples/cli/run.sh [FOLDER [ITERATIONS]]
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=${1:-build/example-cli}
iterations=${2:-200}
bin=.venv/bin

$bin/python -c "
from pathlib import Path
from examples.digits.scans import write_scans
write_scans(Path('$folder/scans'))
"
$bin/ddstream models resnet18
$bin/ddstream train resnet18 --config examples/cli/digits.yaml \
  --train-data "$folder/scans/train" --test-data "$folder/scans/held-out" \
  --repository "$folder/model" --repository-override --iterations "$iterations" --test-interval 50 \
  --batch-size 64 --base-lr 0.001 --set mllib.solver.solver_type=ADAM --output-format text
$bin/deepdetect job status "$folder/model"
find "$folder/scans/held-out" -name '*.png' | sort | sed -n 1,5p >"$folder/images.txt"
$bin/ddstream predict resnet18 --config examples/cli/digits.yaml \
  --repository "$folder/model" --images-file "$folder/images.txt" --output-format jsonl
