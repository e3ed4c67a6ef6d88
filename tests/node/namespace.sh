#!/bin/sh
# The first process in the namespaces of a node: prepares them and runs a program in them. When this process ends, the kernel ends
# everything else in them, and mounts, links and addresses go with the namespaces.
#
#     namespace.sh FOLDER CGROUP ADDRESS IPV6-ADDRESS PROGRAM [ARGS...]
set -eu
folder=$1 cgroup=$2 address=$3 address6=$4
shift 4

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
# The same by IPv6, where the kernel has it. Nobody else is there who could have the same address.
if [ -d /proc/sys/net/ipv6 ]; then
  ip address add "$address6/64" dev node0 nodad
  ip address add fd00:ec2::23/128 dev node0 nodad
  ip -6 route add default dev node0
  echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
fi

status=0
"$@" || status=$?
exit "$status"
