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
export PMIX_MCA_psec=native
run=run-$SLURM_JOB_ID   # a job keeps its number when it is started again

if compgen -G "$run/checkpoint-*" > /dev/null; then
    what=(--resume "$run")   # with the settings and data of the checkpoint
else
    what=(--checkpoint "$run" --every "${EVERY:-60s}" --data "${1:-digits}" --strategy periodic:1epoch --epochs "${EPOCHS:-75}")
fi
srun --mpi=pmix --kill-on-bad-exit=1 manyhands train --team mpi --out model.safetensors "${what[@]}"
status=$?
# 143: ended by the signal, a minute before the time is over, with a checkpoint of that very step.
[ $status -eq 143 ] && scontrol requeue "$SLURM_JOB_ID"
exit $status
