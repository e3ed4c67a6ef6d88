#!/bin/sh
# The first process in the namespaces of a node: prepares them and runs a program in them. When this process ends, the kernel ends
# everything else in them, and mounts, links and addresses go with the namespaces.
#
#     namespace.sh FOLDER CGROUP ADDRESS PROGRAM [ARGS...]
set -eu
folder=$1 cgroup=$2 address=$3
shift 3

mount --make-rprivate /
# Files of the node are in memory, under the paths that containerd, kubelet and CNI plugins have fixed and under one of our own.
mkdir -p /var/lib/cni /var/lib/kubelet
for place in "$folder" /run /var/lib/cni /var/lib/kubelet; do mount -t tmpfs tmpfs "$place"; done

# Of each kind one of its own, in which the kubelet counts as if the machine were its own.
for kind in /sys/fs/cgroup/*/; do mkdir -p "$kind$cgroup"; done

ip link set lo up
ip link add node0 type bridge
ip address add "$address/24" dev node0
# Where agents of EKS listen on a node.
ip address add 169.254.170.23/32 dev node0
ip link set node0 up
# Nothing answers there, but for what kube-proxy leads elsewhere.
ip route add default dev node0
echo 1 >/proc/sys/net/ipv4/ip_forward

status=0
"$@" || status=$?
exit "$status"
