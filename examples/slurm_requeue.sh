#!/bin/bash
# sbatch examples/slurm_requeue.sh [DATA]    training that is longer than a job may last: docs/reliability.md
#SBATCH --job-name=manyhands
#SBATCH --ntasks=2
#SBATCH --cpus-per-task=1
#SBATCH --time=00:10:00
#SBATCH --signal=TERM@60
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=manyhands-%j.txt
export OMP_NUM_THREADS=1
export PMIX_MCA_psec=native   # Open MPI's wheel has no munge, and would complain about it

# Started again by Slurm (SLURM_RESTART_COUNT), the same command goes on from the newest checkpoint.
srun --mpi=pmix --kill-on-bad-exit=1 \
    manyhands train --data "${1:-digits}" --team mpi --strategy periodic:1epoch --epochs "${EPOCHS:-75}" \
    --checkpoint "run-$SLURM_JOB_ID" --every "${EVERY:-60s}" --out model.safetensors
status=$?

# 143: ended by the signal, a minute before the time is over, with a checkpoint of that very step.
[ $status -eq 143 ] && scontrol requeue "$SLURM_JOB_ID"
exit $status
