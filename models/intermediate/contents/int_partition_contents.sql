{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    meta={'touched': [{
        'model': 'int_touched_hours', 'on': {'dataset': 'dataset', 'partition_hour': 'partition_hour'},
    }]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}{% endif %}

{# Only the touched hours. The hour of a delivery is not stored; the bounds on last_called_at let the engine skip
   everything outside these hours. #}
{% if is_incremental() %}
{% set hours_of_calls %}from {{ ref('int_touched_hours') }} where dataset = 'calls'{% endset %}
{% set hours_of_deliveries %}from {{ ref('int_touched_hours') }} where dataset = 'deliveries'{% endset %}
{% endif %}

with

-- content_hash stands for template_id and vars
calls as (

    select
        'calls' as dataset,
        call_hour as partition_hour,
        {{ row_hash(
            ['event_timestamp', 'campaign_id', 'action_id', 'copy_id', 'content_hash'],
            ['user_id', 'journey_id', 'attrs'],
        ) }} as row_hash
    from {{ ref('int_distinct_calls') }}
    {% if is_incremental() -%}
    where call_hour in (select partition_hour {{ hours_of_calls }})
    {%- endif %}

),

-- delivery_key stands for journey_id and action_id, or for all of a call that lacks one
deliveries as (

    select
        'deliveries' as dataset,
        {{ dbt.date_trunc('hour', 'last_called_at') }} as partition_hour,
        {{ row_hash(
            [
                'delivery_key',
                'copy_id',
                'content_hash',
                'campaign_id',
                timestamp_to_unix('first_called_at'),
                timestamp_to_unix('last_called_at'),
                dbt.datediff('cast(' ~ unix_to_timestamp(0) ~ ' as date)', 'delivery_date', 'day'),
                'call_count',
                'case when copy_conflict then 1 else 0 end',
            ],
            ['user_id', 'attrs'],
        ) }} as row_hash
    from {{ ref('fct_deliveries') }}
    {% if is_incremental() -%}
    where
        {{ dbt.date_trunc('hour', 'last_called_at') }} in (select partition_hour {{ hours_of_deliveries }})
        and last_called_at >= (select min(partition_hour) {{ hours_of_deliveries }})
        and last_called_at < (
            select {{ dbt.dateadd('hour', 1, 'max(partition_hour)') }} {{ hours_of_deliveries }}
        )
    {%- endif %}

),

summed_calls as (

    select
        dataset,
        partition_hour,
        count(*) as row_count,
        sum(row_hash) as hash_sum
    from calls
    group by dataset, partition_hour

),

summed_deliveries as (

    select
        dataset,
        partition_hour,
        count(*) as row_count,
        sum(row_hash) as hash_sum
    from deliveries
    group by dataset, partition_hour

),

sums as (

    select * from summed_calls

    union all

    select * from summed_deliveries

),

final as (

    select
        dataset,
        partition_hour,
        row_count,
        cast(hash_sum as decimal(38, 0)) as hash_sum
    from sums

)

select * from final
