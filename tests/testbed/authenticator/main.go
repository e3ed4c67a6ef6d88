// Command authenticator answers what the real aws-iam-authenticator makes of an aws-auth ConfigMap.
//
// It is the judge of the tests: all verdicts come from the authenticator's own packages.
//
//	authenticator parse             < {"data": {...}} per line
//	authenticator print             < {"data": {...}} per line
//	authenticator watch KUBECONFIG  < {"arn": "..."} per line
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/aws-iam-authenticator/pkg/arn"
	"sigs.k8s.io/aws-iam-authenticator/pkg/config"
	"sigs.k8s.io/aws-iam-authenticator/pkg/mapper/configmap"
	"sigs.k8s.io/aws-iam-authenticator/pkg/token"
	"sigs.k8s.io/yaml"
)

type seen struct {
	Roles      []config.RoleMapping `json:"roles"`
	Users      []config.UserMapping `json:"users"`
	Accounts   []string             `json:"accounts"`
	Errors     int                  `json:"errors"`
	ErrorTexts []string             `json:"error_texts"`
}

type printed struct {
	Manifest string            `json:"manifest"`
	Data     map[string]string `json:"data"`
	Error    string            `json:"error,omitempty"`
}

type answer struct {
	Mapped   bool     `json:"mapped"`
	Via      string   `json:"via,omitempty"`
	Username string   `json:"username"`
	Groups   []string `json:"groups"`
	Error    string   `json:"error,omitempty"`
}

func main() {
	// The authenticator logs every text that it dislikes; the answers say the same.
	logrus.SetOutput(io.Discard)
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == "parse":
		err = eachLine(parse)
	case len(os.Args) == 2 && os.Args[1] == "print":
		err = eachLine(printManifest)
	case len(os.Args) == 3 && os.Args[1] == "watch":
		err = watch(os.Args[2])
	default:
		err = fmt.Errorf("usage: %s parse | print | watch KUBECONFIG", os.Args[0])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// eachLine answers each JSON document on standard input with one line on standard output, at once.
func eachLine[Q, A any](reply func(Q) A) error {
	in := json.NewDecoder(bufio.NewReader(os.Stdin))
	out := bufio.NewWriter(os.Stdout)
	for {
		var question Q
		if err := in.Decode(&question); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := json.NewEncoder(out).Encode(reply(question)); err != nil {
			return err
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
}

func parse(question struct{ Data map[string]string }) seen {
	users, roles, accounts, err := configmap.ParseMap(question.Data)
	result := seen{Roles: roles, Users: users, Accounts: orEmpty(accounts), ErrorTexts: []string{}}
	if err != nil {
		// ErrParsingMap keeps its errors to itself.
		list := reflect.ValueOf(err).FieldByName("errors")
		result.Errors = list.Len()
		for i := range list.Len() {
			result.ErrorTexts = append(result.ErrorTexts, fmt.Sprint(list.Index(i)))
		}
	}
	return result
}

// printManifest answers the ConfigMap as kubectl's YAML printer prints it, and whether kubectl could read that back.
func printManifest(question struct{ Data map[string]string }) printed {
	manifest, err := yaml.Marshal(corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		Data:     question.Data,
	})
	if err != nil {
		return printed{Error: err.Error()}
	}
	var back corev1.ConfigMap
	if err := yaml.Unmarshal(manifest, &back); err != nil {
		return printed{Manifest: string(manifest), Error: err.Error()}
	}
	return printed{Manifest: string(manifest), Data: back.Data}
}

func watch(kubeconfig string) error {
	mapper, err := configmap.NewConfigMapMapper(config.Config{Kubeconfig: kubeconfig})
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	defer close(stop)
	if err := mapper.Start(stop); err != nil {
		return err
	}
	return eachLine(func(question struct{ ARN string }) answer { return ask(mapper, question.ARN) })
}

// ask does what the authenticator's server does with a verified token, short of rendering templates.
func ask(mapper *configmap.ConfigMapMapper, caller string) answer {
	_, canonical, err := arn.Canonicalize(caller)
	if err != nil {
		return answer{Groups: []string{}, Error: err.Error()}
	}
	identity := &token.Identity{ARN: caller, CanonicalARN: canonical}
	if parts := strings.SplitN(caller, ":", 6); len(parts) == 6 {
		identity.AccountID = parts[4]
		if resource := strings.Split(parts[5], "/"); resource[0] == "assumed-role" {
			identity.SessionName = resource[len(resource)-1]
		}
	}
	mapping, err := mapper.Map(identity)
	if err == nil {
		via := "mapUsers"
		if _, roleErr := mapper.RoleMapping(strings.ToLower(canonical)); roleErr == nil {
			via = "mapRoles"
		}
		return answer{Mapped: true, Via: via, Username: mapping.Username, Groups: orEmpty(mapping.Groups)}
	}
	if mapper.IsAccountAllowed(identity.AccountID) {
		return answer{Mapped: true, Via: "mapAccounts", Username: canonical, Groups: []string{}}
	}
	return answer{Groups: []string{}, Error: err.Error()}
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
