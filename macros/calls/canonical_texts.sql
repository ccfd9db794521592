{# CTEs that end with contents and canonical_attrs: the canonical form of each distinct text of vars and attrs in a
   relation of calls, and the hash of each content. `where`: which of its rows. Calls join them by their texts as logged:
   template_id and logged_vars, and logged_attrs. A macro and not a model: what an incremental run reads, and the texts
   of as many attrs as there are persons, stay within one statement. #}
{% macro canonical_texts(calls, where) -%}
-- the relation is read twice: DuckDB materialises a CTE that two places read, with all its columns
distinct_vars as (

    select distinct
        template_id,
        vars as logged_vars
    from {{ calls }}
    {{ where }}

),

distinct_attrs as (

    select distinct attrs as logged_attrs
    from {{ calls }}
    {{ where }}

),

-- per distinct text: grouping by text costs little; canonicalising and hashing each call would cost more than the rest
-- of the model
canonical_vars as (

    {{ canonical_objects('distinct_vars', ['template_id', 'logged_vars'], 'logged_vars', 'vars') }}

),

contents as (

    select
        template_id,
        logged_vars,
        vars,
        md5(template_id || {{ newline() }} || vars) as content_hash
    from canonical_vars

),

canonical_attrs as (

    {{ canonical_objects('distinct_attrs', ['logged_attrs'], 'logged_attrs', 'attrs') }}

)
{%- endmacro %}
