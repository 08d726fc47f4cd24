#!/bin/sh
# Two MPI processes train together; on several machines, add --hostfile hosts (docs/mpi.md).
#   sh examples/mpiexec.sh [DATA] [WORKERS]
set -e
export OMP_NUM_THREADS=1
mpiexec -n "${2:-2}" manyhands train --data "${1:-digits}" --team mpi --strategy periodic:1epoch --out model.safetensors
manyhands evaluate model.safetensors --data "${1:-digits}"
