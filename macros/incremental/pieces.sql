{# A model that needs much memory for each row that it reads may build its rows in pieces, so that its memory does not
   grow with history: that of a full refresh, or of a backfill. Its config names the model that it reads, an expression
   over its columns that is never null and by which nothing depends on other rows, such as a date, and how many times
   var('rows_of_a_piece') rows a piece has, 1 unless it says so:
       meta={'pieces': {'model': 'fct_engagement_events', 'by': 'metric_date', 'times': 6}}
   Its select has and_in_piece() beside its predicates of that model, which has the columns of the first of its touched,
   but not those of `among`: of these, more rows are counted than are read. A landing table may stand in place of a model;
   `on` then says which of its columns are touched:
       meta={'pieces': {
           'source': ['customerio_sync', 'customerio_metrics'], 'by': 'substr(md5(event_id), 1, 2)',
           'on': {'event_id': 'metric_id'},
       }}
   Snowflake spreads and spills by itself, so there it is one statement. #}
{% macro and_in_piece() -%}
    and {{ any_piece() }}
{%- endmacro %}

{% macro any_piece() -%}
    {{ return('/* piece */ true') }}
{%- endmacro %}


{# The spans that hold about so many rows each, as SQL conditions; none for one span. Rows of one value
   stay together, and the first and the last span are open, so that the spans hold every value whatever was counted.
   Values are read behind a letter, so that dbt does not take them for something else. #}
{% macro pieces() -%}
    {%- set found = config.get('meta', {}).get('pieces') -%}
    {%- if not found -%}
        {{ return([]) }}
    {%- endif -%}
    {%- set query -%}
        select 'v' || cast({{ found['by'] }} as {{ dbt.type_string() }}), count(*)
        from {{ source(*found['source']) if found.get('source') else relation_of(found['model']) }}
        {% if is_incremental() -%}
        {%- set first = dict(config.get('meta')['touched'][0]) -%}
        {%- do first.pop('among', none) -%}
        {%- do first.update(on=found.get('on', first['on'])) %}
        where {{ is_touched([first]) }}
        {%- endif %}
        group by {{ found['by'] }}
        order by {{ found['by'] }}
    {%- endset -%}
    {%- set most = var('rows_of_a_piece') * found.get('times', 1) -%}
    {%- set ends = [] -%}
    {%- set counted = namespace(rows=0) -%}
    {%- for value, rows in run_query(query).rows -%}
        {%- if counted.rows and counted.rows + rows > most -%}
            {%- do ends.append(value[1:]) -%}
            {%- set counted.rows = 0 -%}
        {%- endif -%}
        {%- set counted.rows = counted.rows + rows -%}
    {%- endfor -%}
    {%- set conditions = [] -%}
    {%- for end in ends -%}
        {%- do conditions.append(
            (found['by'] ~ " >= '" ~ ends[loop.index0 - 1] ~ "' and " if not loop.first else '')
            ~ found['by'] ~ " < '" ~ end ~ "'"
        ) -%}
    {%- endfor -%}
    {%- if ends -%}
        {%- do conditions.append(found['by'] ~ " >= '" ~ ends[-1] ~ "'") -%}
    {%- endif -%}
    {{ return(conditions) }}
{%- endmacro %}


{# dbt-duckdb's macro, whose statement makes the table of the first piece; an insert for each other piece follows. #}
{% macro duckdb__create_table_as(
    temporary, relation, compiled_code, language='sql', partitioned_by=none, sorted_by=none
) -%}
    {%- set conditions = pieces() if any_piece() in compiled_code else [] -%}
    {{ dbt.duckdb__create_table_as(
        temporary, relation, compiled_code | replace(any_piece(), conditions[0] if conditions else any_piece()), language,
        partitioned_by, sorted_by
    ) }}
    {%- for condition in conditions[1:] %}
    insert into {{ relation.include(database=not temporary, schema=not temporary) }}
    {{ compiled_code | replace(any_piece(), condition) }};
    {%- endfor %}
{%- endmacro %}
