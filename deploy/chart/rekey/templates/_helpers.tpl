{{/* Labels of every object. The last four are left out where the chart is not installed by Helm: scripts/manifests.sh. */}}
{{- define "rekey.labels" -}}
app.kubernetes.io/name: rekey
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/instance: {{ .Release.Name | toYaml }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The label that selects our pods: of every release the same, so that it never changes. */}}
{{- define "rekey.selector" -}}
app.kubernetes.io/name: rekey
{{- end }}

{{- define "rekey.image" -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default .appVersion }}
{{- end }}
{{- end }}

{{/* The operator, as the subject of a binding. */}}
{{- define "rekey.subjects" -}}
subjects:
- kind: ServiceAccount
  name: {{ .Values.serviceAccount.name | toYaml }}
  namespace: {{ .Release.Namespace | toYaml }}
{{- end }}

{{/* A RoleBinding to the operator: dict "root" $ "name" "" "namespace" "" "kind" "ClusterRole" "role" "". */}}
{{- define "rekey.roleBinding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .name | toYaml }}
  namespace: {{ .namespace | toYaml }}
  labels:
    {{- include "rekey.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .role | toYaml }}
{{ include "rekey.subjects" .root }}
{{- end }}

{{/* The ClusterRoleBinding of the operator to the ClusterRole of the same name: dict "root" $ "name" "". */}}
{{- define "rekey.clusterRoleBinding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ .name }}
  labels:
    {{- include "rekey.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ .name }}
{{ include "rekey.subjects" .root }}
{{- end }}

{{/* The flags of `rekey run`. */}}
{{- define "rekey.args" -}}
- run
- --log-format={{ .logFormat }}
- --log-level={{ .logLevel }}
- --concurrency={{ .concurrency | int }}
- --rollouts-per-namespace={{ .rolloutsPerNamespace | int }}
- --rollouts={{ .rollouts | int }}
{{- with .onlyNamespaces }}
- --namespaces={{ join "," . }}
{{- end }}
{{- if .requireConsent }}
- --require-consent
{{- end }}
{{- if .allowAmbientCredentials }}
- --allow-ambient-credentials
{{- end }}
{{- with .allowAddresses }}
- --allow-addresses={{ join "," . }}
{{- end }}
{{- with .storeProxy }}
- --store-proxy={{ . }}
{{- end }}
{{- if .allowInsecureStores }}
- --allow-insecure-stores
{{- end }}
{{- end }}

{{/* A constraint that spreads the pods: dict "key" topologyKey "when" whenUnsatisfiable. */}}
{{- define "rekey.spread" -}}
- maxSkew: 1
  topologyKey: {{ .key }}
  whenUnsatisfiable: {{ .when }}
  labelSelector:
    matchLabels:
      {{- include "rekey.selector" . | nindent 6 }}
  matchLabelKeys: [pod-template-hash] # pods of the version before do not count
{{- end }}

{{/* Peers of a rule of a NetworkPolicy. Nothing where an entry names neither a namespace nor addresses. */}}
{{- define "rekey.peers" -}}
{{- with .namespace }}
- namespaceSelector:
    matchLabels:
      kubernetes.io/metadata.name: {{ . | toYaml }}
  {{- with $.podLabels }}
  podSelector:
    matchLabels:
      {{- toYaml . | nindent 6 }}
  {{- end }}
{{- end }}
{{- range .cidrs }}
- ipBlock:
    cidr: {{ toYaml . }}
{{- end }}
{{- end }}

{{/* Rules of egress: dict "entries" list "protocols" list. */}}
{{- define "rekey.egress" -}}
{{- range $entry := .entries }}
{{- $peers := include "rekey.peers" $entry | trim }}
- ports:
  {{- range $port := $entry.ports }}
  {{- range $protocol := $.protocols }}
  - protocol: {{ $protocol }}
    port: {{ $port | int }}
  {{- end }}
  {{- end }}
  {{- with $peers }}
  to:
  {{- . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* What a schema cannot refuse. */}}
{{- define "rekey.validate" -}}
{{- if and (hasKey .Values "enabled") (not .Values.enabled) }}
{{- fail "enabled: a chart that has this one as a dependency uses it as its condition; on this chart itself it does nothing" }}
{{- end }}
{{- range $label, $_ := include "rekey.labels" . | fromYaml }}
{{- range $value, $labels := dict "podLabels" $.Values.podLabels "metricsService.labels" $.Values.metricsService.labels }}
{{- if hasKey $labels $label }}
{{- fail (printf "%s: %s is a label of the chart's own" $value $label) }}
{{- end }}
{{- end }}
{{- end }}
{{- $only := .Values.operator.onlyNamespaces }}
{{- $seen := dict }}
{{- range .Values.namespaces }}
{{- if eq .name $.Release.Namespace }}
{{- fail (printf "namespaces: %s is the operator's own namespace, which you cannot open; clusterStoreCredentials allows what it needs there" .name) }}
{{- end }}
{{- if hasKey $seen .name }}
{{- fail (printf "namespaces: %s appears twice; remove one" .name) }}
{{- end }}
{{- $_ := set $seen .name true }}
{{- if and $only (not (has .name $only)) }}
{{- fail (printf "namespaces: %s is opened, but operator.onlyNamespaces leaves it out: name it in both, or in none" .name) }}
{{- end }}
{{- end }}
{{- end }}
