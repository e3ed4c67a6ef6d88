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
