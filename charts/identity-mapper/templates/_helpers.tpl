{{/*
Every object bears the chart's name, whatever the release is called: a cluster has one aws-auth, so a second release has
to fail, and helm refuses to adopt objects of another release.
*/}}
{{- define "identity-mapper.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
{{- end }}

{{- define "identity-mapper.labels" -}}
{{ include "identity-mapper.selector" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "identity-mapper.subjects" -}}
- kind: ServiceAccount
  name: {{ .Chart.Name }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{/* How EKS and AWS are reached: the same for every container. */}}
{{- define "identity-mapper.cluster-args" -}}
{{- $eks := .Values.eks -}}
{{- if $eks.clusterName }}
- --cluster-name={{ $eks.clusterName }}
{{- range $flag, $value := dict "region" $eks.region "eks-rate" $eks.rate "iam-external-id" $eks.iamExternalId }}
{{- with $value }}
- {{ printf "--%s=%v" $flag . | quote }}
{{- end }}
{{- end }}
{{- range $eks.iamRoles }}
- {{ printf "--iam-role=%s" . | quote }}
{{- end }}
{{- range $eks.iamAccounts }}
- {{ printf "--iam-account=%s" . | quote }}
{{- end }}
{{- end }}
- --config-map-namespace={{ .Values.configMap.namespace }}
- --config-map-name={{ .Values.configMap.name }}
{{- end }}

{{/* What plans depend on: the same for the operator and for a plan of it. */}}
{{- define "identity-mapper.plan-args" -}}
{{- $eks := .Values.eks -}}
{{- if $eks.clusterName }}
- --handover={{ $eks.handover }}
- --recreated-principals={{ $eks.recreatedPrincipals }}
{{- range $flag, $value := dict "soak" $eks.soak "propagation" $eks.propagation }}
{{- with $value }}
- {{ printf "--%s=%v" $flag . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "identity-mapper.container" -}}
image: {{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- if or .Values.env .Values.certificateAuthorities }}
env:
{{- if .Values.certificateAuthorities }}
# Either variable alone would replace the authorities of the image.
- name: SSL_CERT_FILE
  value: /etc/ssl/certs/ca-certificates.crt
- name: SSL_CERT_DIR
  value: /etc/identity-mapper/certificate-authorities
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- if .Values.certificateAuthorities }}
volumeMounts:
- name: certificate-authorities
  mountPath: /etc/identity-mapper/certificate-authorities
  readOnly: true
{{- end }}
{{- end }}

{{- define "identity-mapper.pod" -}}
serviceAccountName: {{ .Chart.Name }}
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- if .Values.certificateAuthorities }}
volumes:
- name: certificate-authorities
  configMap:
    name: {{ .Chart.Name }}-certificate-authorities
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
