{# Rows of Customer.io's warehouse sync: a row comes again whenever it changed, and sometimes though it did not, so
   landing keeps every export of it. The latest is that of the highest seq_num, whose scope the vendor does not say, then
   of the export's number, then of the file and row: an order without ties. #}
{% macro latest_sync_order() -%}
seq_num desc nulls last, sequence desc nulls last, _file desc, _line desc
{%- endmacro %}


{# CTEs that end with one of the given name: of each key of a landing table of the sync, the latest export. `where`: a
   condition on the key, for a model that reads few of them; a condition on anything else would change which export is the
   latest. `known`: only what had landed when the run began; the rest is the next run's. #}
{% macro latest_sync_rows(table, keys, where=none, name='latest_rows', known=false) -%}
{{ name }}_exported as (

    select
        *,
        row_number() over (
            partition by {{ keys | join(', ') }}
            order by {{ latest_sync_order() }}
        ) as export_rank
    from {{ source('customerio_sync', table) }}
    {%- if where or known %}
    where
        {{ where or 'true' }}
        {%- if known %}
        and _batch_id in (select batch_id from {{ ref('int_landed_batches') }})
        {%- endif %}
    {%- endif %}

),

{{ name }} as (

    select * from {{ name }}_exported
    where export_rank = 1

)
{%- endmacro %}


{# CTEs that end with changed_<name>: the keys of a landing table of the sync whose latest export may have another
   content than the models have read. Those are the keys that a pending batch removed rows of, and those of which it brought a
   content other than that of the latest export before. An export with the same content is not among them. It needs every
   content that is pending, not only the latest: of two pending batches that change a row and change it back, a model
   that a broken build left behind may have read the first. It reads the CTEs read_batches and pending_batches. #}
{% macro changed_sync_keys(table, key, name) -%}
arrived_{{ name }} as (

    select distinct
        {{ key }},
        content_hash
    from {{ source('customerio_sync', table) }}
    where
        _batch_id in (select batch_id from pending_batches)
        {{- and_pending_batch('_batch_id') }}

),

read_{{ name }} as (

    select
        {{ key }},
        content_hash,
        row_number() over (
            partition by {{ key }}
            order by {{ latest_sync_order() }}
        ) as export_rank
    from {{ source('customerio_sync', table) }}
    where
        {{ key }} in (select {{ key }} from arrived_{{ name }})
        {{- and_between(key, of_pending(key, source('customerio_sync', table)), key) }}
        and _batch_id in (select batch_id from read_batches)

),

changed_{{ name }} as (

    select arrived_{{ name }}.{{ key }}
    from arrived_{{ name }}
    left join read_{{ name }}
        on
            arrived_{{ name }}.{{ key }} = read_{{ name }}.{{ key }}
            and arrived_{{ name }}.content_hash = read_{{ name }}.content_hash
            and read_{{ name }}.export_rank = 1
    where read_{{ name }}.content_hash is null

    union

    select {{ key }}
    from {{ source('customerio_sync', table ~ '_removed') }}
    where batch_id in (select batch_id from pending_batches)

)
{%- endmacro %}
