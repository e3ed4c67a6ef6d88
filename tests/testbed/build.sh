#!/bin/sh
# Builds programs of the test bed into target/testbed, from their Go modules at the versions that go.mod pins, and the
# Python environment of the AWS client that is not ours:
#
#     tests/testbed/build.sh etcd kubernetes helm authenticator python node
#
# A program that is there and whose module did not change is left alone, which takes no time. Nothing is left half
# built: a program appears under its name only when it is whole.
set -eu

# Kubernetes 1.36 built with a newer Go serves a broken OpenAPI: this one is used where another is installed.
go_release=go1.26.8

# A go.work above this folder is none of ours.
GOWORK=off
export GOWORK

here=$(cd "$(dirname "$0")" && pwd)
out=$(cd "$here/../.." && pwd)/target/testbed

# The installed Go where its minor version is the right one; otherwise Go itself fetches a release.
choose_go() {
  case $(go env GOVERSION) in
    go1.26 | go1.26.* | go1.26[a-z]*) ;;
    *)
      GOTOOLCHAIN=$go_release
      export GOTOOLCHAIN
      if ! go version >/dev/null; then
        echo "the test bed needs Go 1.26: $(command -v go) is another and could not fetch $go_release" >&2
        exit 1
      fi
      ;;
  esac
}

# compile MODULE PACKAGES [FLAGS...]: one line for every 200 packages, since go itself says nothing for minutes. Both run
# in the background, so that a signal to this script ends them and not the script alone.
compile() {
  module=$1 packages=$2
  shift 2
  mkdir -p "$staging"
  mkfifo "$staging/output"
  (cd "$here/$module" && GOBIN=$staging exec go install -v -trimpath "$@" $packages) >"$staging/output" 2>&1 &
  compiling=$!
  awk -v module="$module" '
    function progress(what) { print "  " module ": " what; fflush() }
    $1 == "go:" && $2 == "downloading" { if (++fetched % 100 == 0) progress(fetched " modules fetched"); next }
    /^[A-Za-z0-9.\/_-]+$/ { if (++compiled % 200 == 0) progress(compiled " packages compiled"); next }
    { print; fflush() }' <"$staging/output" &
  showing=$!
  trap 'kill "$compiling"; rm -rf "$staging"; exit 143' TERM
  status=0
  wait "$compiling" || status=$?
  wait "$showing"
  trap - TERM
  rm "$staging/output"
  return "$status"
}

# build MODULE "PROGRAMS" WHY HOW-LONG PACKAGES [FLAGS...]
build() {
  module=$1 programs=$2 why=$3 long=$4 packages=$5
  shift 5
  sum=$({ cat "$here/$module"/*; echo "$@"; } | cksum)
  # Several lots come of one module; each has a stamp, named after its first program.
  stamp=$out/.${programs%% *}
  staging=$out/.staging-${programs%% *}
  current=true
  for program in $programs; do [ -x "$out/$program" ] || current=false; done
  if $current && [ "$(cat "$stamp" 2>/dev/null)" = "$sum" ]; then return; fi
  choose_go
  echo "building $(echo "$programs" | sed 's/ / and /g'): $why; $long with nothing cached, then kept in target/testbed"
  started=$(date +%s)
  rm -rf "$staging" "$stamp"
  compile "$module" "$packages" "$@"
  # The command of etcd's module is named after its last folder.
  if [ -f "$staging/server" ]; then mv "$staging/server" "$staging/etcd"; fi
  for program in $programs; do mv "$staging/$program" "$out/$program"; done
  rm -rf "$staging"
  echo "$sum" >"$stamp"
  echo "built $programs in $(($(date +%s) - started)) s"
}

# A virtual environment with boto3, at the versions and hashes of requirements.txt.
build_python() {
  requirements=$here/python/requirements.txt
  sum=$(cksum <"$requirements")
  stamp=$out/.python
  if [ -x "$out/venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$sum" ]; then return; fi
  echo "building venv: boto3 and the AWS CLI are clients of the stand-in for AWS; half a minute, then kept in target/testbed"
  rm -rf "$out/venv" "$stamp"
  python3 -m venv "$out/venv" || {
    echo "the test bed needs python3 with its venv module (Debian: apt-get install python3-venv)" >&2
    exit 1
  }
  # Of all packages but PyYAML the file has the hash of a wheel and of nothing else.
  "$out/venv/bin/pip" --quiet --disable-pip-version-check install --require-hashes -r "$requirements"
  echo "$sum" >"$stamp"
}

# kubernetes "PROGRAMS" WHY HOW-LONG
kubernetes() {
  version=$(sed -n 's/^.*k8s.io\/kubernetes v\([0-9.]*\).*/\1/p' "$here/kubernetes/go.mod")
  minor=$(echo "$version" | cut -d. -f2)
  # Without these they call themselves v0.0.0, and clients that look at the server's version misbehave.
  package=k8s.io/component-base/version
  build kubernetes "$1" "$2" "$3" "$(echo "$1" | sed 's|[^ ][^ ]*|k8s.io/kubernetes/cmd/&|g')" \
    "-ldflags=-s -w -X $package.gitVersion=v$version -X $package.gitMajor=1 -X $package.gitMinor=$minor"
}

mkdir -p "$out"
for wanted; do
  case $wanted in
    etcd | kubernetes) if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then continue; fi ;;
  esac
  case $wanted in
    etcd) build etcd etcd "the API server keeps its objects there" "half a minute" tool "-ldflags=-s -w" ;;
    kubernetes) kubernetes "kube-apiserver kubectl" "tests and demo talk to a real API server" "some 5 minutes" ;;
    helm) build helm helm "the tests install what the chart renders" "2 minutes" tool "-ldflags=-s -w" ;;
    authenticator)
      build authenticator "authenticator aws-iam-authenticator" "the real one judges who gets in" "4 to 5 minutes" ". tool" \
        "-ldflags=-s -w"
      ;;
    python) build_python ;;
    node)
      kubernetes "kubelet kube-controller-manager kube-scheduler kube-proxy" "the chart's Pod runs on a real node" "some 3 minutes"
      build containerd "containerd containerd-shim-runc-v2 ctr" "the node's container runtime" "2 minutes" tool "-ldflags=-s -w"
      ;;
    *)
      echo "no such program: $wanted" >&2
      exit 1
      ;;
  esac
done
