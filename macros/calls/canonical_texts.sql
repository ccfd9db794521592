{# CTEs that end with contents and canonical_attrs: the canonical form of each distinct text of vars and attrs in a
   relation of calls, and the hash of each content. `where`: which of its rows. Calls join them by their texts as logged:
   template_id and logged_vars, and logged_attrs. A macro and not a model: what an incremental run reads, and the texts
   of as many attrs as there are persons, stay within one statement. #}
{% macro canonical_texts(calls, where) -%}
-- the relation is read twice: DuckDB materialises a CTE that two places read, with all its columns
logged_vars as (

    select distinct
        template_id,
        vars
    from {{ calls }}
    {{ where }}

),

logged_attrs as (

    select distinct attrs
    from {{ calls }}
    {{ where }}

),

-- per distinct text: grouping by text costs little; canonicalising and hashing each call would cost more than the rest
-- of the model
parsed_vars as (

    select
        template_id,
        vars as logged_vars,
        {{ parsed_json('vars') }} as parsed
    from logged_vars

),

canonical_vars as (

    select
        template_id,
        logged_vars,
        {{ canonical_json('logged_vars', 'parsed') }} as vars
    from parsed_vars

),

contents as (

    select
        template_id,
        logged_vars,
        vars,
        md5(template_id || {{ newline() }} || vars) as content_hash
    from canonical_vars

),

parsed_attrs as (

    select
        attrs as logged_attrs,
        {{ parsed_json('attrs') }} as parsed
    from logged_attrs

),

canonical_attrs as (

    select
        logged_attrs,
        {{ canonical_json('logged_attrs', 'parsed') }} as attrs
    from parsed_attrs

)
{%- endmacro %}
