//! A control plane with one node: kubelet, containerd, kube-proxy, and the controllers and the scheduler that make Pods of a Deployment.
//!
//! `tests/node` and `make demo NODE=1` run it. It is started in namespaces of its own: see [`namespace`].
#![allow(
    clippy::unwrap_used,
    reason = "what a test does not expect fails it, and the demo too"
)]

pub(crate) mod container;
pub(crate) mod image;
pub(crate) mod names;
pub(crate) mod namespace;
pub(crate) mod workload;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::Api;
use serde_json::{Value, json};

use super::Cluster;
use super::certs::{NODE_ADDRESS, NODE_NAME};
use super::programs::{program, repository};
use super::rights::NAMESPACE;
use super::supervise::Supervised;
use super::wait::eventually;

use container::Container;
use image::run;

/// What takes a quarter of a minute takes longer where the machine is busy.
pub(crate) const PATIENT: Duration = Duration::from_mins(3);

/// Of each log where a test fails.
const SHOWN_LINES: usize = 40;

const CONTAINERD: &str = "/run/containerd/containerd.sock";

/// The addresses of Pods.
const PODS: &str = "10.99.0.0/24";

/// The tag of the image that is installed.
pub(crate) const TAG: &str = "test";

/// Programs by their names.
type Programs = Vec<(&'static str, Supervised)>;

/// The running node. Its programs end when this value is dropped, its containers with the namespaces.
pub(crate) struct Node {
    programs: Programs,
    pub(crate) cluster: Cluster,
    folder: PathBuf,
}

impl Node {
    /// Starts everything, and waits until the node is ready and has the operator's image. For use in namespaces, in these cgroups.
    pub(crate) async fn start(cgroup: &str) -> Self {
        let cluster = Cluster::for_node().await;
        let kubeconfig = cluster.kubelet_kubeconfig();
        Self::on(cluster, cgroup, &kubeconfig).await
    }

    /// The same on a control plane, with these credentials of the kubelet.
    pub(crate) async fn on(cluster: Cluster, cgroup: &str, kubelet: &Path) -> Self {
        let folder = cluster.scratch().path().join("node");
        fs::create_dir(&folder).unwrap();
        let mut node = Self {
            programs: Vec::new(),
            cluster,
            folder,
        };
        node.start_controllers();
        node.start_containerd().await;
        node.start_proxy();
        node.start_kubelet(cgroup, kubelet);
        node.ready(true).await;
        node
    }

    fn spawn(&mut self, name: &'static str, args: &[String]) {
        let environment = [("HOME", self.folder.clone())];
        let log = self.folder.join(format!("{name}.log"));
        let program = Supervised::spawn(&program(name), args, environment, &log);
        self.programs.push((name, program));
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn start_controllers(&mut self) {
        let admin = self.cluster.admin_kubeconfig().display().to_string();
        let common = |flags: &[String]| -> Vec<String> {
            let mut args = vec![
                "--leader-elect=false".to_owned(),
                "--secure-port=0".to_owned(),
            ];
            for flag in [
                "kubeconfig",
                "authentication-kubeconfig",
                "authorization-kubeconfig",
            ] {
                args.push(format!("--{flag}={admin}"));
            }
            args.extend_from_slice(flags);
            args
        };
        let key = self.cluster.service_account_key().display().to_string();
        let authority = self.cluster.authority_file().display().to_string();
        let controllers = common(&[
            format!("--service-account-private-key-file={key}"),
            format!("--root-ca-file={authority}"),
            "--allocate-node-cidrs=false".to_owned(),
            "--use-service-account-credentials=true".to_owned(),
            // Several reports of the kubelet may be missing, as it reports below.
            "--node-monitor-grace-period=20s".to_owned(),
            "--node-monitor-period=1s".to_owned(),
        ]);
        self.spawn("kube-controller-manager", &controllers);
        self.spawn("kube-scheduler", &common(&[]));
    }

    async fn start_containerd(&mut self) {
        let network = json!({
            "cniVersion": "1.0.0", "name": "pods",
            "plugins": [
                {"type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": true, "ipam": {
                    "type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}],
                }},
                {"type": "portmap", "capabilities": {"portMappings": true}},
            ],
        });
        fs::create_dir(self.folder.join("cni")).unwrap();
        self.write("cni/10-pods.conflist", &network.to_string());
        let folder = self.folder.display();
        let config = format!(
            r#"
version = 3
root = "{folder}/containerd"
state = "/run/containerd"
[grpc]
  address = "{CONTAINERD}"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "{pause}"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["/usr/lib/cni"]
  conf_dir = "{folder}/cni"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
    BinaryName = "/usr/sbin/runc"
    SystemdCgroup = false
"#,
            pause = image::PAUSE,
        );
        let config = self.write("containerd.toml", &config);
        self.spawn("containerd", &[format!("--config={config}")]);
        eventually("containerd answers", PATIENT, async || {
            let mut version = self.ctr(&["version"]);
            version.output().unwrap().status.success()
        })
        .await;
        let pause = image::pause(&self.folder);
        self.import(&pause);
        let operator = image::operator(&self.folder, TAG);
        self.import(&operator);
    }

    fn ctr(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program("ctr"));
        command.args(["--address", CONTAINERD, "--namespace=k8s.io"]);
        command.args(args).env("HOME", &self.folder);
        command
    }

    /// Gives containerd an image.
    pub(crate) fn import(&self, archive: &Path) {
        let mut import = self.ctr(&["images", "import"]);
        run(import.arg(archive));
    }

    fn start_proxy(&mut self) {
        let config = json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
            "mode": "iptables", "hostnameOverride": NODE_NAME, "clusterCIDR": PODS,
            "clientConnection": {"kubeconfig": self.cluster.admin_kubeconfig()},
            // Limits of connection tracking are the machine's.
            "conntrack": {"maxPerCore": 0, "min": 0},
        });
        let config = self.write("kube-proxy.json", &config.to_string());
        self.spawn("kube-proxy", &[format!("--config={config}")]);
    }

    fn start_kubelet(&mut self, cgroup: &str, kubeconfig: &Path) {
        let authority = self.cluster.authority_file();
        let config = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": format!("unix://{CONTAINERD}"),
            "authentication": {
                "anonymous": {"enabled": false},
                "webhook": {"enabled": true},
                "x509": {"clientCAFile": authority},
            },
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs", "cgroupRoot": format!("/{cgroup}"), "failCgroupV1": false,
            "enforceNodeAllocatable": [],
            "failSwapOn": false,
            "localStorageCapacityIsolation": false,
            "makeIPTablesUtilChains": false,
            "resolvConf": "", "clusterDNS": [NODE_ADDRESS], "clusterDomain": "cluster.local",
            "podLogsDir": self.folder.join("pods"),
            "nodeStatusUpdateFrequency": "3s", "nodeStatusReportFrequency": "3s",
            // The machine's disk is not the node's to judge, nor are its images to be collected.
            "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,
        });
        let config = self.write("kubelet.json", &config.to_string());
        let args = [
            format!("--config={config}"),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--cert-dir={}", self.folder.join("kubelet").display()),
            format!("--hostname-override={NODE_NAME}"),
            format!("--node-ip={NODE_ADDRESS}"),
        ];
        self.spawn("kubelet", &args);
    }

    /// Waits until the node is ready, or is not.
    pub(crate) async fn ready(&mut self, wanted: bool) {
        let nodes = Api::<NodeObject>::all(self.cluster.admin());
        let programs = &mut self.programs;
        let what = format!("the node's readiness is {wanted}");
        eventually(&what, PATIENT, async || {
            for (name, program) in &mut *programs {
                if let Some(status) = program.exited() {
                    return Err(format!("{name} ended with {status}"));
                }
            }
            let node = nodes.get(NODE_NAME).await.map_err(|it| it.to_string())?;
            let conditions = node.status.and_then(|it| it.conditions).unwrap_or_default();
            let ready = conditions.iter().find(|it| it.type_ == "Ready");
            match ready {
                Some(ready) if (ready.status == "True") == wanted => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    /// Runs kubectl as the administrator, which should succeed: what it prints.
    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        self.apply_with(args, None)
    }

    /// Applies this manifest.
    pub(crate) fn apply(&self, manifest: &Value) {
        self.apply_with(&["apply", "-f", "-"], Some(&manifest.to_string()));
    }

    fn apply_with(&self, args: &[&str], stdin: Option<&str>) -> String {
        let output = self.cluster.kubectl(args, stdin);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {args:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The folder of its files.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs helm as the administrator, in the operator's namespace.
    pub(crate) fn helm(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program("helm"));
        command
            .args(args)
            .args(["--namespace", NAMESPACE])
            .current_dir(repository())
            .env("KUBECONFIG", self.cluster.admin_kubeconfig())
            .env("HOME", &self.folder);
        command
    }

    /// Installs or upgrades the chart with this image and these further values, as `helm upgrade --install` does, and waits until the
    /// Pod is ready.
    pub(crate) fn install(&self, tag: &str, values: &[impl AsRef<str>]) {
        let args = install_args(tag, values);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        run(&mut self.helm(&args));
    }

    /// Runs the release's own test.
    pub(crate) fn test_release(&self) {
        run(&mut self.helm(&["test", "identity-mapper", "--logs", "--timeout=60s"]));
    }

    /// The operator's container as the kernel sees it, once there is just one.
    pub(crate) async fn operator(&self) -> Container {
        eventually(
            "one operator runs",
            PATIENT,
            async || match &Container::find("/identity-mapper")[..] {
                [one] => Ok(*one),
                other => Err(format!("{other:?}")),
            },
        )
        .await
    }

    /// What the operator wrote so far, by the API server and the kubelet.
    pub(crate) fn operator_log(&self) -> String {
        self.kubectl(&[
            "logs",
            "--namespace",
            NAMESPACE,
            "deployment/identity-mapper",
        ])
    }
}

/// Arguments of helm that install or upgrade the chart with this image and these further values.
pub(crate) fn install_args(tag: &str, values: &[impl AsRef<str>]) -> Vec<String> {
    let repository = format!("image.repository={}", image::OPERATOR);
    let tag = format!("image.tag={tag}");
    // What is looked at is one process.
    let own = [
        repository.as_str(),
        &tag,
        "image.pullPolicy=Never",
        "replicas=1",
    ];
    let mut args = [
        "upgrade",
        "--install",
        "identity-mapper",
        "charts/identity-mapper",
        "--create-namespace",
        "--wait",
        "--timeout=180s",
    ]
    .map(str::to_owned)
    .to_vec();
    for value in own.into_iter().chain(values.iter().map(AsRef::as_ref)) {
        // A list, an object or a long text is given as JSON.
        let json = value.contains("=[") || value.contains("={") || value.contains("=\"");
        let flag = if json { "--set-json" } else { "--set" };
        args.extend([flag.to_owned(), value.to_owned()]);
    }
    args
}

impl Drop for Node {
    #[expect(
        clippy::print_stderr,
        reason = "whoever runs the test shows it with the failure"
    )]
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for args in [
            &["get", "pods,nodes", "--all-namespaces", "--output=wide"][..],
            &["get", "events", "--all-namespaces"],
            &[
                "logs",
                "--namespace",
                NAMESPACE,
                "--prefix",
                "--tail=100",
                "--selector=app.kubernetes.io/name=identity-mapper",
            ],
        ] {
            let output = self.cluster.kubectl(args, None);
            eprintln!(
                "--- kubectl {args:?} ---\n{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        for (name, program) in &self.programs {
            let log = program.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
            eprintln!("--- the end of {name}'s log ---\n{}", last.join("\n"));
        }
    }
}
