#!/bin/bash
# sbatch examples/slurm.sh [DATA]            two workers, wherever Slurm has room; docs/mpi.md has more
#SBATCH --job-name=manyhands
#SBATCH --ntasks=2
#SBATCH --cpus-per-task=1
#SBATCH --time=00:10:00
#SBATCH --output=manyhands-%j.txt
set -e
export OMP_NUM_THREADS=1
export PMIX_MCA_psec=native   # Open MPI's wheel has no munge, and would complain about it
srun --mpi=pmix --kill-on-bad-exit=1 \
    manyhands train --data "${1:-digits}" --team mpi --strategy periodic:1epoch --out model.safetensors
