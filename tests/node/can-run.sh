#!/bin/sh
# Whether a node can run on this machine. Where it can't, the exit code is 1 and one line of output says why.
set -eu

cannot() {
  echo "$1"
  exit 1
}

[ "$(uname -s)" = Linux ] || cannot "a node needs Linux"
[ -z "${KUBEBUILDER_ASSETS:-}" ] || cannot "a node is as old as the API server that make testbed builds; unset KUBEBUILDER_ASSETS"
[ "$(id -u)" = 0 ] || cannot "a node needs root"
[ -d /sys/fs/cgroup/memory ] || cannot "a node is tried on cgroup v1 alone"
for needed in cc:gcc ip:iproute2 iptables:iptables musl-gcc:musl-tools tar:tar unshare:util-linux; do
  command -v "${needed%:*}" >/dev/null || cannot "${needed%:*} is not installed; apt-get install ${needed#*:}"
done
[ -x /usr/sbin/runc ] || cannot "runc is not installed; apt-get install runc"
[ -x /usr/lib/cni/bridge ] || cannot "the CNI plugins are not installed; apt-get install containernetworking-plugins"
[ -s /etc/ssl/certs/ca-certificates.crt ] || cannot "the public certificate authorities are not installed; apt-get install ca-certificates"
target=$(uname -m)-unknown-linux-musl
[ -d "$(rustc --print sysroot)/lib/rustlib/$target" ] || cannot "Rust for $target is not installed; rustup target add $target"

# What the kernel, or the container around this, may still lack. The rules are of the kinds that kube-proxy and the CNI plugins write.
cgroup=/sys/fs/cgroup/memory/identity-mapper-$$
{ mkdir "$cgroup" && rmdir "$cgroup"; } 2>/dev/null || cannot "a cgroup can't be made here"
reason=$(unshare --net --mount --ipc --pid --fork --kill-child --mount-proc /bin/sh -ec '
  exec 2>&1
  mount --make-rprivate /
  mount -t tmpfs tmpfs /run
  mkdir /run/lower /run/upper /run/work /run/both
  mount -t overlay -o lowerdir=/run/lower,upperdir=/run/upper,workdir=/run/work overlay /run/both
  echo 1 >/proc/sys/net/ipv4/ip_forward
  ip link add probe0 type bridge
  ip link add probe1 type veth peer name probe2
  iptables -t nat -N PROBE
  iptables -t nat -A PROBE -m comment --comment probe -m addrtype --dst-type LOCAL -p tcp -j DNAT --to-destination 192.0.2.1:1
  iptables -t nat -A PROBE -m statistic --mode random --probability 0.5 -j MARK --or-mark 0x4000
  iptables -t nat -A PROBE -m mark --mark 0x4000/0x4000 -j MASQUERADE --random-fully
  iptables -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT') ||
  cannot "namespaces, bridges or iptables don't work here: $(echo "$reason" | tail -n 1)"
