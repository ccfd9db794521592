{# Beside a predicate that joins a column to what was touched: ` and column between low and high`, with the least and
   the greatest touched value as constants. Snowflake skips micro-partitions by constants when it plans, and by a
   subquery never; DuckDB takes the values from the join itself. Where nothing was touched, no row is read. `touched`: a
   model, or a query in parentheses. Ids are bounded as texts: a ULID, as Customer.io's examples have for journeys and
   events, begins with its time. `since`: only the lower bound. `seconds`: how far above a touched value the column may
   lie. A unit test has no bounds: `this` is none there, and its rows are its own. #}
{% macro and_between(column, touched, touched_column, since=false, seconds=0) -%}
    {{ return(adapter.dispatch('and_between')(column, touched, touched_column, since, seconds)) }}
{%- endmacro %}

{% macro duckdb__and_between(column, touched, touched_column, since, seconds) -%}
    {{ return('') }}
{%- endmacro %}

{# The bounds are read as text behind a letter, so that dbt does not take them for something else. #}
{% macro snowflake__and_between(column, touched, touched_column, since, seconds) -%}
    {%- if not execute or flags.WHICH not in ('build', 'run', 'test') or this is none -%}
        {{ return('') }}
    {%- endif -%}
    {%- set is_date = touched_column.endswith('_date') -%}
    {%- set is_time = touched_column.endswith('_at') or touched_column.endswith('_hour') -%}
    {%- set is_number = touched_column.endswith('_timestamp') or touched_column == 'action_id' -%}
    {%- set is_text = touched_column.endswith('_id') or touched_column.endswith('_key')
        or touched_column in ('identifier', 'call_type') -%}
    {%- if not (is_date or is_time or is_number or is_text) -%}
        {{ return('') }}
    {%- endif -%}
    {%- set texts = [] -%}
    {%- for bound in ['min(' ~ touched_column ~ ')', 'max(' ~ touched_column ~ ')'] -%}
        {%- if is_date -%}
            {%- do texts.append("'d' || to_varchar(" ~ bound ~ ", 'YYYY-MM-DD')") -%}
        {%- elif is_time -%}
            {%- do texts.append("'s' || to_varchar(date_part(epoch_second, " ~ bound ~ "))") -%}
        {%- elif is_number -%}
            {%- do texts.append("'s' || to_varchar(" ~ bound ~ ")") -%}
        {%- else -%}
            {%- do texts.append("'t' || left(" ~ bound ~ ", 201)") -%}
        {%- endif -%}
    {%- endfor -%}
    {# once per run: all nodes have the graph in common, and tables of what was touched are made before they are read #}
    {%- set known = graph.setdefault('bounds_of_touched', {}) -%}
    {%- set from = touched if touched.startswith('(') else relation_of(touched) -%}
    {%- set query = 'select ' ~ texts | join(', ') ~ ' from ' ~ from -%}
    {%- if query not in known -%}
        {%- do known.update({query: run_query(query).rows[0]}) -%}
    {%- endif -%}
    {%- set found = known[query] -%}
    {%- if found[0] is none -%}
        {{ return(' and false') }}
    {%- endif -%}
    {%- set bounds = [] -%}
    {%- for text in found -%}
        {%- if is_date -%}
            {%- do bounds.append('date_from_parts(' ~ text[1:].split('-') | map('int') | join(', ') ~ ')') -%}
        {%- elif is_time or is_number -%}
            {# a time may have a fraction, which the upper bound must not cut off #}
            {%- set later = seconds + (1 if touched_column.endswith('_at') else 0) -%}
            {%- set moment = text[1:] | int + (0 if loop.first else later) -%}
            {%- do bounds.append('to_timestamp_ntz(' ~ moment ~ ')' if is_time else moment | string) -%}
        {%- elif text | length > 201 -%}
            {# no id of either vendor is so long #}
            {{ return('') }}
        {%- else -%}
            {%- do bounds.append(text_literal(text[1:])) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if since -%}
        {{ return(' and ' ~ column ~ ' >= ' ~ bounds[0]) }}
    {%- endif -%}
    {{ return(' and ' ~ column ~ ' between ' ~ bounds[0] ~ ' and ' ~ bounds[1]) }}
{%- endmacro %}

{# For and_between: what several queries of one column find. #}
{% macro all_of(queries) -%}
    {{ return('(' ~ queries | join(' union all ') ~ ')') }}
{%- endmacro %}

{# Such a query: a column of the rows that pending batches brought, or removed. #}
{% macro of_pending(column, relation, batch='_batch_id') -%}
    {#- while dbt parses there is no graph, and in a unit test it is empty -#}
    {%- if not execute or this is none -%}
        {{ return('') }}
    {%- endif -%}
    {{ return(
        '(select ' ~ column ~ ' from ' ~ relation ~ ' where ' ~ batch ~ ' in (select batch_id from '
        ~ relation_of('int_landed_batches') ~ ' where is_pending)' ~ and_pending_batch(batch) ~ ')'
    ) }}
{%- endmacro %}

{# Such a query: what int_settings_changes ever said of templates whose settings changed. #}
{% macro of_changed_templates(column) -%}
    {%- if not execute or this is none -%}
        {{ return('') }}
    {%- endif -%}
    {%- set changes = relation_of('int_settings_changes') -%}
    {{ return(
        '(select ' ~ column ~ ' from ' ~ changes ~ ' where template_id in '
        ~ of_pending('template_id', changes, 'batch_id') ~ ')'
    ) }}
{%- endmacro %}


{# The same for a landing table: the pending batches as constants. A batch's id says nothing of its time, but what one
   landing brought lies together. #}
{% macro and_pending_batch(column) -%}
    {{ return(adapter.dispatch('and_pending_batch')(column)) }}
{%- endmacro %}

{% macro duckdb__and_pending_batch(column) -%}
    {{ return('') }}
{%- endmacro %}

{% macro snowflake__and_pending_batch(column) -%}
    {#- while dbt parses, there is no graph -#}
    {%- if not execute -%}
        {{ return('') }}
    {%- endif -%}
    {{ return(and_one_of(column, 'batch_id', relation_of('int_landed_batches') ~ ' where is_pending')) }}
{%- endmacro %}


{# For tests of what has just landed: the batches that no model has read, and their files, as constants. They are read
   once, so that tests before and after the first model has marked its batches look at the same rows. #}
{% macro and_one_of_new_batches(column) -%}
    {{ return(adapter.dispatch('and_one_of_new_batches')(column)) }}
{%- endmacro %}

{% macro duckdb__and_one_of_new_batches(column) -%}
    {{ return('') }}
{%- endmacro %}

{% macro snowflake__and_one_of_new_batches(column) -%}
    {{ return(and_one_of(column, 'batch_id', state_table('landed_batches') ~ ' where ' ~ is_new_batch())) }}
{%- endmacro %}

{% macro and_one_of_new_files(column) -%}
    {{ return(adapter.dispatch('and_one_of_new_files')(column)) }}
{%- endmacro %}

{% macro duckdb__and_one_of_new_files(column) -%}
    {{ return('') }}
{%- endmacro %}

{% macro snowflake__and_one_of_new_files(column) -%}
    {{ return(and_one_of(column, 'file', state_table('landed_files') ~ ' where ' ~ is_new_batch())) }}
{%- endmacro %}

{% macro is_new_batch() -%}
batch_id not in (select batch_id from {{ state_table('consumed_batches') }})
{%- endmacro %}


{# ` and column in (…)` with the texts that a table has, or nothing where it has many: much must be read then. #}
{% macro and_one_of(column, read, relation) -%}
    {%- if not execute or flags.WHICH not in ('build', 'run', 'test') or this is none -%}
        {{ return('') }}
    {%- endif -%}
    {%- set known = graph.setdefault('lists_of_texts', {}) -%}
    {%- set query = "select distinct 'b' || " ~ read ~ ' from ' ~ relation ~ ' limit 101' -%}
    {%- if query not in known -%}
        {%- do known.update({query: run_query(query).rows | map('first') | list}) -%}
    {%- endif -%}
    {%- set found = known[query] -%}
    {%- if not found -%}
        {{ return(' and false') }}
    {%- elif found | length > 100 -%}
        {{ return('') }}
    {%- endif -%}
    {%- set literals = [] -%}
    {%- for text in found | sort -%}
        {%- do literals.append(text_literal(text[1:])) -%}
    {%- endfor -%}
    {{ return(' and ' ~ column ~ ' in (' ~ literals | join(', ') ~ ')') }}
{%- endmacro %}
