// Command apiserver answers as the Kubernetes API server would, by its own code, without a server.
//
//	apiserver CRD.yaml < objects.jsonl
//
// It first validates the CustomResourceDefinition as `kubectl apply` would have it validated (exit code 1 and the reasons
// on stderr when it is refused). Then, for each line {"object": ..., "old": ...}, it prunes, fills in defaults, runs the
// schema and the CEL rules, and prints {"object": ..., "errors": [...], "unknown": [...]}.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/install"
	apiv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	schemacel "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

type checker struct {
	structural *schema.Structural
	validator  validation.SchemaValidator
	rules      *schemacel.Validator
}

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(path string) error {
	crd, err := readDefinition(path)
	if err != nil {
		return err
	}
	if errs := crdvalidation.ValidateCustomResourceDefinition(context.Background(), crd); len(errs) > 0 {
		return errs.ToAggregate()
	}
	c, err := newChecker(crd)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<24)
	for lines.Scan() {
		answer, err := c.answer(lines.Bytes())
		if err != nil {
			return err
		}
		fmt.Println(string(answer))
	}
	return lines.Err()
}

func readDefinition(path string) (*apiextensions.CustomResourceDefinition, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	install.Install(scheme)
	versioned := &apiv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(data, versioned); err != nil {
		return nil, err
	}
	scheme.Default(versioned)
	crd := &apiextensions.CustomResourceDefinition{}
	if err := scheme.Convert(versioned, crd, nil); err != nil {
		return nil, err
	}
	crd.Status.StoredVersions = []string{crd.Spec.Versions[0].Name}
	return crd, nil
}

func newChecker(crd *apiextensions.CustomResourceDefinition) (*checker, error) {
	open := crd.Spec.Validation
	if open == nil {
		open = crd.Spec.Versions[0].Schema
	}
	structural, err := schema.NewStructural(open.OpenAPIV3Schema)
	if err != nil {
		return nil, err
	}
	validator, _, err := validation.NewSchemaValidator(open.OpenAPIV3Schema)
	if err != nil {
		return nil, err
	}
	return &checker{structural, validator, schemacel.NewValidator(structural, true, celconfig.PerCallLimit)}, nil
}

func (c *checker) answer(line []byte) ([]byte, error) {
	request := map[string]interface{}{}
	if err := utiljson.Unmarshal(line, &request); err != nil {
		return nil, err
	}
	object, ok := request["object"].(map[string]interface{})
	if !ok {
		return nil, errors.New("a line holds no object")
	}
	options := schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	unknown := pruning.PruneWithOptions(object, c.structural, true, options)
	defaulting.PruneNonNullableNullsWithoutDefaults(object, c.structural)
	defaulting.Default(object, c.structural)
	messages := []string{}
	for _, found := range c.validate(object, request["old"]) {
		messages = append(messages, found.Error())
	}
	return json.Marshal(map[string]interface{}{"object": object, "errors": messages, "unknown": unknown})
}

func (c *checker) validate(object map[string]interface{}, old interface{}) field.ErrorList {
	errs := validation.ValidateCustomResource(nil, object, c.validator)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, c.structural, object)...)
	if len(errs) > 0 {
		return errs // the server does not run rules on what does not fit the schema
	}
	errs, _ = c.rules.Validate(context.Background(), nil, c.structural, object, old, celconfig.RuntimeCELCostBudget)
	return errs
}
