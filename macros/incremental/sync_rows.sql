{# Rows of Customer.io's warehouse sync: a row comes again whenever it changed, and sometimes though it did not, so
   landing keeps every export of it. The latest is that of the highest seq_num, whose scope the vendor does not say, then
   of the export's number, then of the file and row: an order without ties. #}
{% macro latest_sync_order() -%}
seq_num desc nulls last, sequence desc nulls last, _file desc, _line desc
{%- endmacro %}


{# CTEs that end with `latest_rows`: of each key of a landing table of the sync, the latest export. `where`: a condition
   on the key, for a model that reads few of them; a condition on anything else would change which export is the latest. #}
{% macro latest_sync_rows(table, keys, where=none) -%}
exported_rows as (

    select
        *,
        row_number() over (
            partition by {{ keys | join(', ') }}
            order by {{ latest_sync_order() }}
        ) as export_rank
    from {{ source('customerio_sync', table) }}
    {%- if where %}
    where {{ where }}
    {%- endif %}

),

latest_rows as (

    select * from exported_rows
    where export_rank = 1

)
{%- endmacro %}


{# CTEs that end with `changed_keys`: the keys of a landing table of the sync whose latest export may have another
   content than the models have read. Those are the keys that a pending batch removed rows of, and those of which it
   brought a content other than that of the latest export before. An export with the same content is not among them. It
   needs every content that is pending, not only the latest: of two pending batches that change a row and change it back,
   a model that a broken build left behind may have read the first. #}
{% macro changed_sync_keys(table, keys) -%}
read_batches as (

    select batch_id
    from {{ ref('int_landed_batches') }}
    where not is_pending

),

pending_batches as (

    select batch_id
    from {{ ref('int_landed_batches') }}
    where is_pending

),

arrived_contents as (

    select distinct
        {{ keys | join(', ') }},
        content_hash
    from {{ source('customerio_sync', table) }}
    where
        _batch_id in (select batch_id from pending_batches)
        {{- and_pending_batch('_batch_id') }}

),

arrived_keys as (

    select distinct {{ keys | join(', ') }}
    from arrived_contents

),

read_rows as (

    select
        {% for key in keys -%}
        exports.{{ key }},
        {% endfor -%}
        exports.content_hash,
        row_number() over (
            partition by {% for key in keys %}exports.{{ key }}{{ ', ' if not loop.last }}{% endfor %}
            order by {{ latest_sync_order() }}
        ) as export_rank
    from {{ source('customerio_sync', table) }} as exports
    inner join arrived_keys
        on
            {% for key in keys -%}
            exports.{{ key }} = arrived_keys.{{ key }}
            {%- if not loop.last %}
            and {% endif -%}
            {%- endfor %}
    where exports._batch_id in (select batch_id from read_batches)

),

changed_contents as (

    select
        {% for key in keys -%}
        arrived_contents.{{ key }}{{ ',' if not loop.last }}
        {% endfor -%}
    from arrived_contents
    left join read_rows
        on
            {% for key in keys -%}
            arrived_contents.{{ key }} = read_rows.{{ key }}
            and {% endfor -%}
            read_rows.export_rank = 1
            and arrived_contents.content_hash = read_rows.content_hash
    where read_rows.content_hash is null

),

changed_keys as (

    select {{ keys | join(', ') }}
    from changed_contents

    union

    select {{ keys | join(', ') }}
    from {{ source('customerio_sync', table ~ '_removed') }}
    where batch_id in (select batch_id from pending_batches)

)
{%- endmacro %}
