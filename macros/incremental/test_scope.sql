{# With `--vars 'test_scope: changed'`, the data tests of a large table read only the rows that the last run wrote, by
   the `touched` of its config; otherwise all rows. All rows of a touched unit are written together, so a key that is
   unique among them is unique in the table; a plain `dbt test` proves it. #}
{% macro get_where_subquery(relation) -%}
    {%- set conditions = [] -%}
    {%- if config.get('where') -%}
        {%- do conditions.append(config.get('where')) -%}
    {%- endif -%}
    {%- set several = [] -%}
    {%- if execute and var('test_scope') == 'changed' -%}
        {%- set meta = models_by_name().get(relation.identifier, {}).get('config', {}).get('meta', {}) -%}
        {%- if meta.get('touched') and meta['touched'] | length > 1 -%}
            {%- do several.extend(touched_sets(meta['touched'])) -%}
        {%- elif meta.get('touched') -%}
            {%- do conditions.append(is_touched(meta['touched'])) -%}
        {%- elif meta.get('new_batches') -%}
            {%- do conditions.append('true ' ~ and_new_batch(meta['new_batches'])) -%}
        {%- endif -%}
    {%- endif -%}
    {%- if several -%}
        {{ return('(select tested.* from ' ~ rows_of_any(relation, 'tested', several, conditions | join(' and ') or 'true') ~ ') as tested') }}
    {%- elif conditions -%}
        {{ return('(select * from ' ~ relation ~ ' where ' ~ conditions | join(' and ') ~ ') as tested') }}
    {%- endif -%}
    {{ return(relation) }}
{%- endmacro %}


{# Whether a row is among those that a model's config calls touched. #}
{% macro is_touched(all_touched) -%}
    {%- set alternatives = [] -%}
    {%- for found in touched_sets(all_touched) -%}
        {%- do alternatives.append(is_in_set(found)) -%}
    {%- endfor -%}
    {{ return('(' ~ alternatives | join(' or ') ~ ')') }}
{%- endmacro %}


{# What a model's config calls touched, as sets for rows_of_any(). #}
{% macro touched_sets(all_touched) -%}
    {%- set found = [] -%}
    {%- for touched in all_touched -%}
        {%- set read = relation_of(touched['model']) -%}
        {%- set parts = [] -%}
        {%- for column, touched_column in touched.get('since', {}).items() -%}
            {%- do parts.append(' and ' ~ column ~ ' >= (select min(' ~ touched_column ~ ') from ' ~ read ~ ')') -%}
        {%- endfor -%}
        {%- if touched.get('only') -%}
            {%- do parts.append(' and ' ~ touched['only']) -%}
        {%- endif -%}
        {%- if touched.get('among') -%}
            {%- do parts.append(' and ' ~ is_among(touched['among'], relation_of(touched['among']['model']))) -%}
        {%- endif -%}
        {%- for column, touched_column in touched['on'].items() -%}
            {%- do parts.append(and_between(column, touched['model'], touched_column)) -%}
        {%- endfor -%}
        {%- for column, touched_column in touched.get('since', {}).items() -%}
            {%- do parts.append(and_between(column, touched['model'], touched_column, since=true)) -%}
        {%- endfor -%}
        {%- do found.append({'on': touched['on'], 'of': read, 'and': parts | join}) -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}


{# The models of the graph by name, which is also their alias, found once per run: all nodes have the graph in common,
   and nearly 400 tests would walk through it twice each. #}
{% macro models_by_name() -%}
    {%- if 'models_by_name' not in graph -%}
        {%- set found = {} -%}
        {%- for node in graph.nodes.values() if node.resource_type == 'model' -%}
            {%- do found.update({node.name: node}) -%}
        {%- endfor -%}
        {%- do graph.update({'models_by_name': found}) -%}
    {%- endif -%}
    {{ return(graph['models_by_name']) }}
{%- endmacro %}


{# The relation of a model, without the dependency that ref() would add. #}
{% macro relation_of(name) -%}
    {%- set node = models_by_name()[name] -%}
    {{ return(api.Relation.create(database=node.database, schema=node.schema, identifier=node.alias)) }}
{%- endmacro %}


{# For singular tests: an `and` that keeps what the last run touched, or nothing if everything is tested. #}
{% macro and_touched(column, touched_model, touched_column=none) -%}
    {%- if execute and var('test_scope') == 'changed' -%}
        and {{ column }} in (select {{ touched_column or column }} from {{ relation_of(touched_model) }})
        {{- and_between(column, touched_model, touched_column or column) }}
    {%- endif -%}
{%- endmacro %}


{# The same for a landing batch, in tests that run before the run has marked its batches as read. #}
{% macro and_new_batch(column) -%}
    {%- if execute and var('test_scope') == 'changed' -%}
        and {{ column }} not in (select batch_id from {{ state_table('consumed_batches') }})
        {{- and_one_of_new_batches(column) }}
    {%- endif -%}
{%- endmacro %}
