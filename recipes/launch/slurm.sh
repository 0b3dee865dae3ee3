#!/bin/bash
# Several machines under Slurm, one launcher on each:
#   sbatch --nodes 2 recipes/launch/slurm.sh --model llama-3.3-70b --precision bf16 --data data/moralis.jsonl --out runs/moralis-70b
# --out and --data must lie on a file system that all machines see.
#SBATCH --job-name=econmoral
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --time=04:00:00
set -euo pipefail
source .venv/bin/activate
gpus=${GPUS_PER_NODE:-8}
processes=$((SLURM_NNODES * gpus))
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# each machine's own rank exists only inside its task, so it is written for the inner shell
srun bash -c "accelerate launch --config_file ${CONFIG:-recipes/launch/fsdp.yaml} --num_machines $SLURM_NNODES --num_processes $processes \
  --machine_rank \$SLURM_NODEID --main_process_ip $head --main_process_port ${PORT:-29500} recipes/sft.py --processes $processes $(printf '%q ' "$@")"
